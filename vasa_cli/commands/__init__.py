"""The commands of `vasa`, one file each. Nothing heavy is imported here: `vasa --help` must answer at once."""
