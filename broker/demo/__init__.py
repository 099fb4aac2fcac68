"""The story that `broker demo` tells, on a hospital of its own, over HTTP, as its users' systems would live it."""
