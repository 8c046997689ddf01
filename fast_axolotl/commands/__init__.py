"""The subcommands of `fast-axolotl`: one module each, named for its command."""
