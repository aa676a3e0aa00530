"""Speed and accuracy, measured; one table row a run in README.md."""
