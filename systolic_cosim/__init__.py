"""The installed form of the suite. In a wheel, ``tb``, ``quant``, ``golden_model`` and ``rtl`` lie in this folder, so
that no bare name of theirs is in anybody's site-packages; in a checkout they lie beside it."""
