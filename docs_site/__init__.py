"""What `make docs` needs beside the documentation itself: see mkdocs.yml."""
