"""The socket edge: frames, who sees what, and one session per socket."""
