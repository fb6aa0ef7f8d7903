"""The compiler, from a traced Graph to machine code; it never imports the runtime."""
