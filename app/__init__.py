"""The dashboard: a Streamlit app that only reads run files. It ships in the wheel as ``gnoise._app``."""
