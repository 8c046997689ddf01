"""The commands of `fast-axolotl`: a module NAME with a function NAME is the command NAME."""
