"""Everything made of tensors: networks, how they are loaded, sampling, and the maths around them."""

import logging

# diffusers imports torchao wherever it is installed, and torchao then complains about kernels it was built without.
for _name in ("torchao", "torch.utils._pytree", "diffusers.quantizers.torchao"):
    logging.getLogger(_name).setLevel(logging.ERROR)
