#!/bin/sh
# Opens a shell with injecttf2 installed, in this folder, inside a plain Python image.
cd "$(dirname "$0")" || exit 1
exec docker run --rm -it -v "$(pwd)/../..:/injecttf2" -w /injecttf2/campaigns/mnist_example \
    python:3.11-slim sh -c 'pip install -q -c /injecttf2/constraints.txt /injecttf2 && exec sh'
