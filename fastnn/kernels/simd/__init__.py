"""What is written in LLVM's language: register tiles and other vector operations."""
