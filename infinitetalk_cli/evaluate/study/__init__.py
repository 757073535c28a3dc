"""The ranking study: a page that people rank videos on without knowing whose they are, and what their ranks say."""
