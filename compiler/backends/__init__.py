"""Scheduled Loops to machine code: LLVM text, elementary functions, the CPU and PTX."""
