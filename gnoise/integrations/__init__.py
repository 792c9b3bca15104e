"""gnoise inside of other people's training loops: one thin file a framework, imported by name."""
