"""The module that nnU-Net imports when it searches `nnUNet_extTrainer`: a shim over `h2aseg_nnunet.trainer`.

nnU-Net forgets the modules of this folder after each search. The classes must therefore live elsewhere, or every search
would make new ones, which cannot be pickled.
"""

try:
    from h2aseg_nnunet import trainer as _trainer
except ModuleNotFoundError as error:
    # The variable is inherited by processes of other environments: without the plugin there is nothing to offer.
    # Anything else is a fault that the user must see.
    if error.name != "h2aseg_nnunet":
        raise
else:
    globals().update({name: getattr(_trainer, name) for name in _trainer.__all__})
