"""What `check` looks at. Each server has a module that looks and one that judges what was seen, which is pure."""
