"""Machine code in this process: kept on disk, loaded, given threads, and called from Python."""
