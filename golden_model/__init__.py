"""Golden model: the accelerator's values from the integer definition of a convolution, in pure numpy functions.

``tiling`` cuts a layer into the array's tiles, ``psum`` multiplies them, ``sfp`` accumulates and finishes the psums,
``layer`` runs all three on one layer; ``requantise`` makes the next layer's activations of its sums; ``vectors`` and
``golden_set`` write and read the course's text files. For the accelerator, ``plan`` cuts a layer into bands and blocks,
``schedule`` counts its cycles, and ``registers`` is the register map.
"""
