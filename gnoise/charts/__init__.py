"""Rows in; a Plotly figure, a one-sentence finding and the data as a table out.

What is here, for the app and the report alike: ``heat_map``, ``tail``, ``averaging`` and ``rows`` make charts,
``tiles`` the numbers of the first screen, ``tables`` the rows of every table, ``phrases`` the text of an
estimate, ``answers`` that of a verdict and ``summary`` the sentence above them all.
Nothing is imported here: words need no Plotly.
"""
