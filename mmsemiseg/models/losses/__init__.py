from .ohem_loss import OHEMLoss

__all__ = ['OHEMLoss']
