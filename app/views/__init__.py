"""The pages, in the order of the navigation: a module here, which has ``render(run)``, to its title.

A page's module is imported when it is first opened: one that fits laws should not hold up one that shows numbers.
"""

VIEWS = {
    "overview": "Overview",
    "layers": "Layers",
    "noise_scale": "Noise scale",
    "norms": "Norms",
    "remedies": "Remedies",
    "trial": "Trial",
    "compare": "Compare",
    "about": "About this run",
}
