"""All services together, from outside: processes, HTTP, sockets, the command line."""
