# The same without teachers and contrast: the students label for each other.
_base_ = './ctt_deeplabv3plus-r18_camvid-seq24.py'
model = dict(teaching='mutual', hc_weight=0, lc_weight=0)
custom_hooks = []
