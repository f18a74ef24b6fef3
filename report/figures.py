"""Vega-Lite, which the page carries to draw the pictures that templates/pictures.js describes."""

import functools

import vl_convert


@functools.cache
def script() -> str:
    """Bundle the drawing library as one script, which sets ``window.vegaEmbed``."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle
