"""Recipes: a config in, runs out."""
