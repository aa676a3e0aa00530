"""Make a backbone from fonts: python -m tools.backbone --help."""
