"""From a results folder to what others can use: published sets, on a disk or on a hub."""
