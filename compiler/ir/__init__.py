"""The two languages, Graph and Loops: their nodes, printers, parsers and verifiers."""
