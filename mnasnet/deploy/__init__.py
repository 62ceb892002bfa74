"""Models as files for other runtimes, each proved to be the same network."""
