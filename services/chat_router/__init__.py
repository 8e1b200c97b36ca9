"""Messages, routing, queue and service quality: the conversations of a shop."""
