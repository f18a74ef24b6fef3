"""The drawing library that the page carries; its pictures are in templates/pictures.js."""

import functools

import vl_convert


@functools.cache
def script() -> str:
    """The drawing library as one script; puts ``vegaEmbed`` on the window."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle
