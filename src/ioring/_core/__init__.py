"""What runs per request, per completion or per byte. Nothing here imports from the package above it."""
