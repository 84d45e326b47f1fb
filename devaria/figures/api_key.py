"""The key of the figpack service. Every job process imports this module."""

KEY_VARIABLE = "FIGPACK_API_KEY"
KEY_MISSING = (
    f"{KEY_VARIABLE} is not set: get a key from the figpack service and `export {KEY_VARIABLE}=…`"
)
