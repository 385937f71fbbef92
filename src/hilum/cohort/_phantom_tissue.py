"""The tissues of a phantom: what each takes from the beam, as formulas on a coarse grid.

Ribs, heart, lungs and the rest are drawn where an `Anatomy` puts them, turned and shifted as an
`Exposure` says. `hilum.cohort._phantom_render` makes the picture of it, and
`hilum.cohort._phantom_parameters` explains the units.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.cohort._phantom_parameters import Anatomy, Exposure, Focus, Opacity
from hilum.findings import Finding

__all__ = ["GRID", "Field", "Scene"]

Field = NDArray[np.floating[Any]]  # one value per point of a grid, shape (rows, columns)

GRID = 256  # points per side of the coarse grid: half the usual picture, finer than the blur


class Scene:
    """The patient on the coarse grid, turned and shifted as the exposure says."""

    def __init__(self, anatomy: Anatomy, exposure: Exposure) -> None:
        self.anatomy = anatomy
        self.exposure = exposure
        axis = (np.arange(GRID, dtype=np.float32) + 0.5) * (2 / GRID) - 1
        u, v = axis[None, :] - exposure.shift_u, axis[:, None] - exposure.shift_v
        cos, sin = math.cos(exposure.rotation), math.sin(exposure.rotation)
        self.u: Field = ((cos * u + sin * v) / exposure.scale).astype(np.float32)
        self.v: Field = ((cos * v - sin * u) / exposure.scale).astype(np.float32)
        self.side: Field = np.where(self.u < 0, np.float32(-1), np.float32(1))
        self.x: Field = np.abs(self.u)  # distance from the midline
        self.base = anatomy.apex + (anatomy.base - anatomy.apex) * exposure.inspiration
        self.outer = self._chest_wall(self.v)
        self.heart = self._heart()
        self.diaphragm = self._diaphragm()
        self.lung_depth: Field = self._lung_depth()

    def _chest_wall(self, v: Field) -> Field:
        """Return the inner face of the ribs: half width at each v; it opens like a bell."""
        a = self.anatomy
        t = np.clip((v - a.apex) / (self.base - a.apex), 0, 1)
        width: Field = 0.24 + (a.thorax_half_width - 0.24) * (1 - (1 - t) ** 2.4) ** 0.62
        return width

    def _heart(self) -> Field:
        """Return the depth of the heart along the beam, 0 outside and 1 at its centre."""
        a = self.anatomy
        du, dv = self.u - a.heart_shift, self.v - (self.base - 0.72 * a.heart_height)
        cos, sin = math.cos(a.heart_tilt), math.sin(a.heart_tilt)
        along, across = sin * du + cos * dv, cos * du - sin * dv
        # The lower left border bulges (the ventricle), the upper end is slender (the great vessels).
        width = a.heart_width * (1 + 0.22 * np.clip(along / a.heart_height, -1, 1))
        radius = (along / (1.08 * a.heart_height)) ** 2 + (across / width) ** 2
        return np.sqrt(np.clip(1 - radius, 0, 1))

    def _diaphragm(self) -> Field:
        """Return the v of the diaphragm at each point: two domes, the patient's right one higher."""
        a = self.anatomy
        across = (self.x - 0.5 * a.thorax_half_width) / (0.62 * a.thorax_half_width)
        drop = np.where(self.side > 0, np.float32(a.left_dome_drop), np.float32(0))
        # The fourth power falls off steeply at the chest wall: the costophrenic angle.
        square = across * across
        return self.base + drop + a.dome_height * (0.55 * square + 0.75 * square * square)

    def _lung_depth(self) -> Field:
        """Return how far each point lies inside a lung field, negative outside, in half pictures."""
        a = self.anatomy
        t = (self.v - a.apex) / (self.base - a.apex)
        hump = np.exp(-(((self.v + 0.34) / 0.09) ** 2)) * np.where(
            self.side > 0, np.float32(0.05), np.float32(0)
        )
        inner = a.mediastinum + 0.03 * np.clip(t, 0, 1) + hump  # the hump is the aortic arch
        apex_u = 0.5 * (0.24 + a.mediastinum)
        # Near its top a lung narrows to a rounded apex halfway between wall and mediastinum.
        narrowing = np.sqrt(np.clip(t / 0.16, 0, 1))
        inner = apex_u + (inner - apex_u) * narrowing
        outer = apex_u + (self.outer - apex_u) * narrowing
        depth = np.minimum(outer - self.x, self.x - inner)
        depth = np.minimum(depth, self.diaphragm - self.v)
        depth = np.minimum(depth, self.v - a.apex)
        heart_edge = np.where(self.heart > 0, -0.2 * self.heart, np.float32(1))
        return np.asarray(np.minimum(depth, heart_edge).astype(np.float32))

    def attenuation(self) -> Field:
        """Return what the body takes from the beam, without any opacity."""
        body = self._body()
        air = np.sqrt(np.clip(self.lung_depth / 0.16, 0, 1))
        total = body * (1 - 0.62 * air)
        total += 0.26 * self.heart
        total += self._middle() + self._abdomen() * body
        total += self.anatomy.bone * (self._ribs() + self._spine() + self._clavicles())
        total += self._vessels() * air
        return np.asarray(np.maximum(total + self._arms(), 0))

    def _body(self) -> Field:
        a = self.anatomy
        torso = a.thorax_half_width + a.chest_wall + 0.03 * np.clip(self.v, 0, 1)
        slope = a.shoulder - 0.10 + 0.22 * self.x  # the shoulders fall away from the neck
        width = a.neck_half_width + (1.05 - a.neck_half_width) * _step(self.v - slope, 0.06)
        width = width + (torso - width) * _step(self.v + 0.36, 0.07)
        rounded = np.sqrt(np.sqrt(np.clip(1 - (self.x / width) ** 2, 0, 1)))
        return np.minimum(rounded, 0.92).astype(np.float32)

    def _middle(self) -> Field:
        """Return the mediastinum, with the dark windpipe and its two main branches."""
        a = self.anatomy
        soft = 0.16 * _step(a.mediastinum + 0.03 - self.x, 0.03) * _step(self.v + 0.62, 0.1)
        below = np.clip(self.v + 0.30, 0, None)  # the windpipe forks at the level of the carina
        centre = 0.9 * below
        pipe = np.exp(-(((self.x - centre) / 0.034) ** 2)) * _step(-0.12 - self.v, 0.03)
        return np.asarray(soft - 0.20 * pipe, dtype=np.float32)

    def _abdomen(self) -> Field:
        a = self.anatomy
        below = _step(self.v - self.diaphragm, 0.012) * _step(self.outer + 0.02 - self.x, 0.03)
        depth = 0.75 + 0.25 * np.clip((self.v - self.base) / 0.3, 0, 1)
        belly = 0.34 * below * depth
        if a.gas > 0.02:
            du, dv = (self.u - 0.36) / (a.gas * 1.5), (self.v - self.base - 0.2) / a.gas
            belly = belly - 0.22 * _step(1 - du**2 - dv**2, 0.25) * below
        return np.asarray(belly, dtype=np.float32)

    def _ribs(self) -> Field:
        """Return both halves of all ribs: the phase of a saw-tooth tells which rib a point is near."""
        a = self.anatomy
        wall = self.outer + 0.025
        across = np.clip(self.x / wall, 0, 1.2)
        behind = a.rib_fall * across**2.2 - 0.05 * np.sin(math.pi * np.clip(across, 0, 1))
        front = a.rib_fall + 0.42 * (1 - across)
        within = _step(wall - self.x, 0.008)
        edge_on = (
            1 + 1.1 * np.clip(across, 0, 1) ** 10
        )  # a rib is seen along its length at the wall
        cage = _step(self.v - a.apex + 0.02, 0.05) * _step(self.base + 0.38 - self.v, 0.1)
        # Behind heart and diaphragm the film is denser, and ribs stand out less.
        cage = cage * (1 - 0.45 * (self.heart > 0)) * (1 - 0.65 * (self.v > self.diaphragm))
        fading = np.clip((across - 0.32) / 0.25, 0, 1)  # towards the breastbone ribs are cartilage
        back = self._rib_profile(self.v - behind) * _step(self.x - 0.07, 0.02)
        fore = self._rib_profile(self.v - front + 0.4 * a.rib_spacing) * fading
        outline = 0.10 * np.exp(-(((self.x - wall + 0.012) / 0.014) ** 2)) * within
        return np.asarray(((0.19 * back + 0.10 * fore) * edge_on * within + outline) * cage)

    def _rib_profile(self, level: Field) -> Field:
        """Return the brightness across ribs: a tube, with its dense rim a little brighter."""
        a = self.anatomy
        phase = level / a.rib_spacing + a.rib_phase
        distance = np.abs(phase - np.floor(phase) - 0.5) * (a.rib_spacing / a.rib_half_thickness)
        body = _step(1 - distance, 0.12)
        return np.asarray(body * (0.75 + 0.35 * np.clip(distance, 0, 1) ** 3))

    def _spine(self) -> Field:
        a = self.anatomy
        x = np.abs(self.u - a.scoliosis * np.sin(3 * self.v))
        phase = 2 * math.pi * self.v / a.vertebra_height
        disc = np.clip(np.cos(phase), 0, 1) ** 4
        waist = a.spine_half_width * (0.92 + 0.08 * np.cos(phase))
        column = _step(waist - x, 0.012) * (0.22 - 0.12 * disc)
        rim = 0.05 * np.exp(-(((x - waist) / 0.012) ** 2)) * (1 - 0.5 * disc)
        pedicle = np.exp(-(((x - 0.62 * waist) / 0.016) ** 2)) * np.clip(-np.cos(phase), 0, 1) ** 3
        process = 0.05 * np.exp(-((x / 0.013) ** 2)) * np.clip(np.cos(phase + 1), 0, 1) ** 2
        return np.asarray(column + rim + 0.09 * pedicle + process, dtype=np.float32)

    def _clavicles(self) -> Field:
        a = self.anatomy
        t = np.clip((self.x - 0.07) / 0.62, 0, 1)
        height = a.clavicle_height - a.clavicle_rise * t - 0.05 * np.sin(2 * math.pi * t)
        thickness = 0.030 + 0.012 * (1 - t) ** 2
        distance = np.abs(self.v - height) / thickness
        ends = _step(self.x - 0.07, 0.012) * _step(0.72 - self.x, 0.02)
        tube = _step(1 - distance, 0.14) * (0.75 + 0.4 * np.clip(distance, 0, 1) ** 3)
        return np.asarray(0.21 * tube * ends, dtype=np.float32)

    def _arms(self) -> Field:
        """Return upper arms with their bone and a hint of the shoulder blades."""
        a = self.anatomy
        shoulder_u, shoulder_v = 0.80, a.shoulder + 0.16
        end_u, end_v = (0.98, -1.3) if self.exposure.arms_raised else (1.02, 0.45)
        du, dv = end_u - shoulder_u, end_v - shoulder_v
        along = ((self.x - shoulder_u) * du + (self.v - shoulder_v) * dv) / (du**2 + dv**2)
        along = np.clip(along, 0, 1)
        near = np.hypot(self.x - shoulder_u - along * du, self.v - shoulder_v - along * dv)
        flesh = 0.32 * np.sqrt(np.clip(1 - (near / 0.15) ** 2, 0, 1))
        bone = 0.045 + 0.03 * np.exp(-((along / 0.08) ** 2))  # the head is wider than the shaft
        shaft = _step(1 - near / bone, 0.12) * (0.7 + 0.5 * np.clip(near / bone, 0, 1) ** 3)
        blade = np.abs(self.x - 0.60 - 0.12 * np.sin(2.2 * (self.v + 0.65)) - 0.1 * (self.v + 0.4))
        blade_ends = _step(self.v - a.shoulder - 0.12, 0.03) * _step(-0.12 - self.v, 0.05)
        scapula = 0.07 * np.exp(-((blade / 0.016) ** 2)) * blade_ends
        return np.asarray(flesh + a.bone * (0.20 * shaft + scapula), dtype=np.float32)

    def _vessels(self) -> Field:
        """Return markings that run out from the two hila, dense near them and fading outwards."""
        du, dv = self.x - 0.17, self.v + 0.06
        radius = np.hypot(du, dv)
        turn = np.arctan2(dv, du) * self.side
        streaks = _texture(self.anatomy.texture_seed, turn * 9 + 20 + radius * 5, radius * 9)
        lines = np.clip(streaks - 0.25, 0, None)
        fall = np.exp(-radius / 0.30)
        root = 0.13 * np.exp(-((radius / 0.10) ** 2))
        return np.asarray(self.anatomy.vessels * (0.32 * lines * fall + root), dtype=np.float32)

    def opacity(self, opacity: Opacity) -> tuple[Field, Field]:
        """Return the density of an opacity, 1 at its densest, and the smooth region that it fills."""
        inside = np.clip(self.lung_depth / 0.03, 0, 1)
        coarse = _clouds(opacity.texture_seed, 10)
        fine = _clouds(opacity.texture_seed + 1, 48)
        region = np.zeros_like(self.u)
        if opacity.finding is Finding.VIRAL:
            for lung in (self.side < 0, self.side > 0):
                # A quantile within each lung makes the haze bilateral and its extent as drawn.
                level = float(np.quantile(coarse[lung & (self.lung_depth > 0)], 1 - opacity.extent))
                region += _step(coarse - level + 0.1, 0.5) * lung
            region *= inside
            net = np.clip(1 - np.abs(fine) / 0.5, 0, 1)
            density = region * (1 - opacity.reticulation * (1 - net))
        else:
            for focus in opacity.foci:
                region = np.maximum(region, self._focus(focus, coarse))
            region *= inside
            density = region * (0.85 + 0.15 * np.clip(fine, -1, 1))
        return _to_unit(density), _to_unit(region)

    def _focus(self, focus: Focus, warp: Field) -> Field:
        a = self.anatomy
        v = np.float32(a.apex + focus.down * (self.base - a.apex))
        outer = float(self._chest_wall(np.asarray(v)))
        # The heart takes a part of the left lung: measure the free width on the grid itself.
        row = np.abs(self.v - v) < 0.02
        free = self.x[row & (self.lung_depth > 0) & (self.side == focus.side)]
        inner = float(free.min()) if free.size else a.mediastinum
        centre = focus.side * (inner + focus.across * (outer - inner))
        du, dv = self.u - centre, self.v - v
        cos, sin = math.cos(focus.tilt), math.sin(focus.tilt)
        along, across = cos * du + sin * dv, cos * dv - sin * du
        distance = np.sqrt((along / focus.radius_u) ** 2 + (across / focus.radius_v) ** 2)
        same_lung = self.side == focus.side
        return np.asarray(_step(1 + 0.25 * warp - distance, 0.28) * same_lung, dtype=np.float32)


def _step(value: Field, softness: float) -> Field:
    """Return 0 below, 1 above and a smooth ramp of the given half width around 0."""
    t = np.clip(value * (0.5 / softness) + 0.5, 0, 1)
    smooth: Field = t * t * (3 - 2 * t)
    return smooth


def _texture(seed: int, across: Field, down: Field) -> Field:
    """Return smooth noise of about unit strength, one knot per unit of the two coordinates."""
    from scipy import ndimage

    knots = np.random.default_rng(seed).standard_normal((64, 64), dtype=np.float32)
    field: Field = ndimage.map_coordinates(
        knots, np.stack([down, across]), order=1, mode="grid-wrap", output=np.float32
    )
    return field


def _clouds(seed: int, knots: int) -> Field:
    """Return smooth noise over the whole grid, about unit strength, from knots x knots values."""
    from PIL import Image

    values = np.random.default_rng(seed).standard_normal((knots, knots), dtype=np.float32)
    picture = Image.fromarray(values)
    return np.array(picture.resize((GRID, GRID), Image.Resampling.BICUBIC))


def _to_unit(field: Field) -> Field:
    return np.asarray(field / max(float(field.max()), 1e-6), dtype=np.float32)
