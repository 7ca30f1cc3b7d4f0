"""Courses with another loop: a frozen body, and a diffusion."""

from __future__ import annotations

import torch
from torch import Tensor

import lossreg
from zoo.data import digit_names
from zoo.nets import Denoiser
from zoo.training import Course, Training, Update


class FineTuning(Course):
    """A course whose body stays as it is once the monitor watches."""

    def learn(self, update: Update, step: int) -> None:
        """Take a step of the head alone."""
        if step == self.training.warm:
            for parameter in list(self.net.parameters())[:-2]:
                parameter.requires_grad_(False)
        super().learn(update, step)


class Diffusion(Course):
    """A denoiser of digits. Its monitor gets the loss alone."""

    def __init__(self, training: Training, seed: int) -> None:
        super().__init__(training, seed)
        self.pool = digit_names(seed)
        self.net = Denoiser()
        self.loss = lossreg.build("mse")
        self.optimizer = training.optimizer(self.net.parameters(), training.rate)

    def forward(self, step: int) -> Update:
        """Return the error of the predicted noise, at a random level for each image."""
        number = self.training.batch
        assert isinstance(number, int)
        images, _ = self.training.spoil(*self.pool.draw(number, self.generator), step)
        images = images.flatten(1) * 2 - 1
        level = torch.rand(number, 1, generator=self.generator)
        noise = torch.randn(images.shape, generator=self.generator)
        predicted = self.net(images * (1 - level).sqrt() + noise * level.sqrt(), level)
        return Update(lossreg.evaluate(self.loss, predicted, self.aim(noise)))

    def aim(self, noise: Tensor) -> Tensor:
        """Return the target: the noise that was added."""
        return noise


class Aimless(Diffusion):
    """A denoiser whose target is not the noise that was added."""

    def aim(self, noise: Tensor) -> Tensor:
        """Return other noise."""
        return torch.randn(noise.shape, generator=self.generator)
