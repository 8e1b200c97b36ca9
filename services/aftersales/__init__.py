"""Returns, refunds and their deadlines: the cases of a shop."""
