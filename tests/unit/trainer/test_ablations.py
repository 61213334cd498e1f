import torch

from h2aseg_nnunet.network.resize import resize
from h2aseg_nnunet.trainer import (
    nnUNetTrainerH2ASeg,
    nnUNetTrainerH2ASeg_noMCSA,
    nnUNetTrainerH2ASeg_noMCSA_noTAMW,
    nnUNetTrainerH2ASeg_noTAMW,
)
from h2aseg_nnunet.trainer.tamw_log import as_line, log_gains, measure_gains


def build(make_trainer, cls=nnUNetTrainerH2ASeg):
    torch.manual_seed(0)
    trainer = make_trainer(cls)
    trainer.initialize()
    return trainer


def names(network) -> set[str]:
    return set(network.state_dict())


def test_each_ablation_takes_away_its_module_and_nothing_else(make_trainer):
    full = names(build(make_trainer).network)
    attention = {name for name in full if ".interaction." in name}
    weighting = {name for name in full if ".tamw." in name}

    assert attention and weighting
    assert names(build(make_trainer, nnUNetTrainerH2ASeg_noMCSA).network) == full - attention
    assert names(build(make_trainer, nnUNetTrainerH2ASeg_noTAMW).network) == full - weighting
    assert names(build(make_trainer, nnUNetTrainerH2ASeg_noMCSA_noTAMW).network) == full - attention - weighting


def test_without_mcsa_streams_do_not_meet_in_the_encoder(make_trainer):
    network = build(make_trainer, nnUNetTrainerH2ASeg_noMCSA).network
    ct, pet = torch.randn(1, 1, 16, 12, 8), torch.randn(1, 1, 16, 12, 8)

    for (ct_alone, _), (ct_features, _) in zip(
        network.encoder(ct=ct, pet=pet), network.encoder(ct=ct, pet=-pet), strict=True
    ):
        assert torch.equal(ct_alone, ct_features)


def test_without_tamw_blocks_read_ct_pet_and_decoder_side_by_side(make_trainer):
    network = build(make_trainer, nnUNetTrainerH2ASeg_noTAMW).network
    stage = network.decoder.stages[-1]
    ct, pet, decoder = torch.randn(1, 8, 8, 6, 4), torch.randn(1, 8, 8, 6, 4), torch.randn(1, 32, 4, 3, 2)

    output = stage(ct=ct, pet=pet, decoder=decoder, logits=torch.randn(1, 2, 4, 3, 2), regions=False)

    expected = stage.block(torch.cat([ct, pet, resize(decoder, (8, 6, 4))], 1))
    assert torch.equal(output, expected)


def test_the_log_says_that_there_is_no_tamw(make_trainer, make_batch):
    trainer = build(make_trainer, nnUNetTrainerH2ASeg_noTAMW)
    keys = set(trainer.logger.get_checkpoint())

    gains = measure_gains(trainer.network.eval(), make_batch(trainer)["data"], trainer.device)
    log_gains(trainer.logger, gains, epoch=0)

    assert gains == []
    assert as_line(gains) == "TAMW: none, the network was built without it"
    assert set(trainer.logger.get_checkpoint()) == keys
