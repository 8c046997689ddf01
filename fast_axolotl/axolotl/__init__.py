"""What fast-axolotl adds to the names of an installed Axolotl."""
