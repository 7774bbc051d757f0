"""Quantisation-aware networks and the integer operands of their layers.

The package trains 2..8-bit VGG16 and ResNet20, stores them, and captures, for any quantised layer and image, the
integers that the accelerator multiplies. What to import from where:

============================  ========================================================================================
``quant.quantizers``          weight and activation quantisers with learned clipping
``quant.layers``              :class:`~quant.layers.QuantConv2d`
``quant.models``              ``vgg16_quant``, ``resnet20_quant``, :class:`~quant.models.ModelSpec`
``quant.data``                the data sets ``digits``, ``photos``, ``cifar10``, ``folder:PATH``
``quant.training.recipes``    the named training recipes of ``recipes.toml``
``quant.storage.checkpoint``  safe reading and atomic writing of checkpoint files
``quant.storage.packed``      the packed form: integers at their bit width in safetensors, no pickle
``quant.network``             :func:`~quant.network.load_network`: checkpoint file -> model with its metadata
``quant.capture``             :func:`~quant.capture.capture`: network, layers, image -> integer operands
``quant.loose``               layers of a checkpoint whose network is not known
``quant.requantisation``      :func:`~quant.requantisation.output_stage`: what lies behind a layer
``quant.checkpoints``         the checkpoints that ship with the package
``python -m quant.train``, ``quant.eval``, ``quant.pack``, ``quant.export``   the commands
============================  ========================================================================================
"""
