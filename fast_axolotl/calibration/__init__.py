"""Measuring where Rust and the originals cross on this host: `fast-axolotl calibrate`."""
