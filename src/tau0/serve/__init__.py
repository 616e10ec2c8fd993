"""A checkpoint behind a socket, and what stands between it and a robot."""
