"""The same work in plain PyTorch, as the paper's authors run it: what `benchmark.py` compares with.

Networks in torch's own layers and layout, masks through `torch.nn.utils.prune`, DSA and CutMix written as their
public definitions have them (Zhao & Bilen 2021; Yun et al. 2019), data resident as normalized float32. All is on
torch's default device; numbers that steer Python are drawn on the CPU, so that a GPU is not waited for.
"""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune


def whole(end: int) -> int:
    """A random integer below `end`."""
    return int(torch.randint(end, (), device="cpu"))


def convnet(width: int, classes: int = 10) -> nn.Module:
    """ConvNet-3 for 32 x 32 x 3 images: conv, instance norm, ReLU, average pool."""
    blocks: list[nn.Module] = []
    for channels in (3, width, width):
        norm = nn.GroupNorm(width, width, affine=True)
        blocks += [nn.Conv2d(channels, width, 3, padding=1), norm, nn.ReLU(inplace=True), nn.AvgPool2d(2)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(width * 16, classes))


class Block(nn.Module):
    """The basic block of a ResNet."""

    def __init__(self, channels: int, filters: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(filters), nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.shortcut = nn.Sequential()
        if stride > 1 or channels != filters:
            conv = nn.Conv2d(channels, filters, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(filters))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet18(width: int = 32, classes: int = 10) -> nn.Module:
    """ResNet-18 in its CIFAR form."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    channels = width
    for stage in range(4):
        for block in range(2):
            filters = width * 2**stage
            layers.append(Block(channels, filters, 2 if stage and not block else 1))
            channels = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


NETWORKS: dict[str, Callable[..., nn.Module]] = {"convnet": convnet, "resnet18": resnet18}


def mask(model: nn.Module, density: float = 0.2) -> None:
    """Random masks on every kernel; torch multiplies each weight with its mask in every forward pass."""
    for module in list(model.modules()):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            prune.custom_from_mask(module, "weight", (torch.rand_like(module.weight) < density).float())


def brightness(x):
    return x + (torch.rand(len(x), 1, 1, 1) - 0.5)


def saturation(x):
    mean = x.mean(1, keepdim=True)
    return (x - mean) * (torch.rand(len(x), 1, 1, 1) * 2) + mean


def contrast(x):
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (torch.rand(len(x), 1, 1, 1) + 0.5) + mean


def flip(x):
    return torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)


def crop(x, pad: int = 4):
    n, _, height, width = x.shape
    padded = F.pad(x, [pad] * 4).permute(0, 2, 3, 1)
    rows = torch.arange(height).view(1, -1, 1) + torch.randint(0, 2 * pad + 1, (n, 1, 1))
    columns = torch.arange(width).view(1, 1, -1) + torch.randint(0, 2 * pad + 1, (n, 1, 1))
    return padded[torch.arange(n).view(-1, 1, 1), rows, columns].permute(0, 3, 1, 2)


def affine(x, matrix):
    return F.grid_sample(x, F.affine_grid(matrix, list(x.shape), align_corners=True), align_corners=True)


def scale(x, ratio: float = 1.2):
    factors = torch.rand(len(x), 2) * (ratio - 1 / ratio) + 1 / ratio
    matrix = torch.zeros(len(x), 2, 3)
    matrix[:, 0, 0], matrix[:, 1, 1] = factors[:, 0], factors[:, 1]
    return affine(x, matrix)


def rotate(x, degrees: float = 15.0):
    angles = (torch.rand(len(x)) - 0.5) * 2 * degrees / 180 * math.pi
    matrix = torch.zeros(len(x), 2, 3)
    matrix[:, 0, 0], matrix[:, 0, 1] = angles.cos(), -angles.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = angles.sin(), angles.cos()
    return affine(x, matrix)


def augment(x):
    """DSA: color, flip, and one of crop, scale, rotate for the batch."""
    x = flip(contrast(saturation(brightness(x))))
    return (crop, scale, rotate)[whole(3)](x)


def cutmix(x, y):
    """With probability .5 one box of every image comes from a partner."""
    if torch.rand((), device="cpu") > 0.5:
        return x, y
    partners = torch.randperm(len(x))
    share = torch.rand((), device="cpu")  # Beta(1, 1)
    height, width = x.shape[2:]
    side = torch.sqrt(1 - share)
    down, right = whole(height), whole(width)
    half = int(height * side) // 2, int(width * side) // 2
    top, bottom = max(down - half[0], 0), min(down + half[0], height)
    left, end = max(right - half[1], 0), min(right + half[1], width)
    x = x.clone()
    x[:, :, top:bottom, left:end] = x[partners, :, top:bottom, left:end]
    replaced = (bottom - top) * (end - left) / (height * width)
    return x, y * (1 - replaced) + y[partners] * replaced


class Training:
    """A masked network, its optimizer and its data; each `step` is one batch of 64 of the paper's recipe."""

    def __init__(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, options: str = "") -> None:
        self.half, self.channels_last = "bfloat16" in options, "channels_last" in options
        mask(model)
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        self.model: Callable[[torch.Tensor], torch.Tensor] = model
        if "compile" in options or "graphs" in options:
            self.model = torch.compile(model, mode="reduce-overhead" if "graphs" in options else "default")
        self.as_authors = not options
        self.images, self.labels = images, labels

    def batches(self, size: int = 64) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for chosen in torch.randperm(len(self.images)).split(size):
            yield cutmix(augment(self.images[chosen]), self.labels[chosen])

    def step(self, x, y):
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.half):
            loss = F.cross_entropy(self.model(x).float(), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def epoch(self) -> float:
        """One pass over the data; the sum of the losses, which the authors' meters read after each step."""
        if self.as_authors:
            return sum(float(self.step(x, y).detach()) for x, y in self.batches())
        return float(torch.stack([self.step(x, y).detach() for x, y in self.batches()]).sum())


def decode(x, factor: int = 2):
    """Multi-formation (Kim et al. 2022): each of factor x factor cells of every image, enlarged to its size."""
    n, channels, height, width = x.shape
    cells = x.view(n, channels, factor, height // factor, factor, width // factor).permute(2, 4, 0, 1, 3, 5)
    cells = cells.reshape(-1, channels, height // factor, width // factor)
    return F.interpolate(cells, size=(height, width), mode="bilinear", align_corners=False)


def augment_together(x, pad: int = 4):
    """IDC's matching augmentation, with one draw for all images: color, crop, cutout."""
    x = x + (torch.rand(()) - 0.5)
    mean = x.mean(1, keepdim=True)
    x = (x - mean) * (torch.rand(()) * 2) + mean
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (torch.rand(()) + 0.5) + mean
    height, width = x.shape[2:]
    down, right = whole(2 * pad + 1), whole(2 * pad + 1)
    x = F.pad(x, [pad] * 4)[:, :, down : down + height, right : right + width]
    kept = torch.ones(height, width)
    row, column = whole(height + 1), whole(width + 1)
    kept[max(row - height // 4, 0) : row + height // 4, max(column - width // 4, 0) : column + width // 4] = 0
    return x * kept


def mismatch(model: nn.Module, real: torch.Tensor, synthetic: torch.Tensor, label: int) -> torch.Tensor:
    """Sum of squared differences between what two batches of a class give as gradients in the convolutions."""

    def gradients(x, differentiable: bool):
        loss = F.cross_entropy(model(x), torch.full((len(x),), label))
        return torch.autograd.grad(loss, list(model.parameters()), create_graph=differentiable)

    wanted = [gradient.detach() for gradient in gradients(real, False)]
    pairs = zip(wanted, gradients(synthetic, True), strict=True)
    return torch.stack([((a - b) ** 2).sum() for a, b in pairs if a.ndim == 4]).sum()


class Matching:
    """IDC (Kim et al. 2022, algorithm 1): an inner iteration matches each class once, then trains the network."""

    def __init__(self, model: nn.Module, real: torch.Tensor, labels: torch.Tensor, ipc: int, *, classes: int = 10):
        self.model, self.real, self.labels, self.ipc, self.classes = model, real, labels, ipc, classes
        self.of_class = [torch.nonzero(labels == label).flatten() for label in range(classes)]
        self.stored = torch.randn(ipc * classes, *real.shape[1:]).requires_grad_()
        self.image_optimizer = torch.optim.SGD([self.stored], lr=0.005, momentum=0.5)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def iteration(self, batch: int = 64, net_images: int = 2000) -> float:
        """The mean mismatch before the step of each class, which is read at once as the authors do."""
        mismatches = [self.match(label, batch) for label in range(self.classes)]
        for _ in range(net_images // batch):
            self.train(batch)
        return sum(mismatches) / self.classes

    def match(self, label: int, batch: int) -> float:
        mine = self.of_class[label]
        real = self.real[mine[torch.randperm(len(mine))[:batch]]]
        decoded = decode(self.stored[label * self.ipc : (label + 1) * self.ipc])
        both = augment_together(torch.cat([real, decoded]))
        loss = mismatch(self.model, both[: len(real)], both[len(real) :], label)
        self.image_optimizer.zero_grad()
        loss.backward()
        self.image_optimizer.step()
        return float(loss.detach())

    def train(self, batch: int) -> None:
        chosen = torch.randint(len(self.real), (batch,))
        x = crop(contrast(saturation(brightness(self.real[chosen]))))
        x, y = cutmix(x, F.one_hot(self.labels[chosen], self.classes).float())
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        self.optimizer.step()


def hessian_diagonal(model: nn.Module, x: torch.Tensor, y: torch.Tensor, positions: list[int]) -> list[float]:
    """Entries of the diagonal as the authors compute them: the gradient with its graph, then a backward pass each.

    `positions` count through all parameters, flattened one after the other.
    """
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(F.cross_entropy(model(x), y), parameters, create_graph=True)
    places = [(index, entry) for index, p in enumerate(parameters) for entry in range(p.numel())]
    entries = []
    for index, entry in (places[position] for position in positions):
        second = torch.autograd.grad(gradients[index].reshape(-1)[entry], parameters[index], retain_graph=True)[0]
        entries.append(float(second.reshape(-1)[entry]))
    return entries
