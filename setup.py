from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="REZSL",
    version="0.1.0",
    description="Rebalanced zero-shot learning: attribute regression, ReMSE, honest ZSL and GZSL evaluation",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["REZSL", "REZSL.*"]),
    package_data={"REZSL.report": ["templates/*"]},
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "yacs>=0.1.8",
        "pyyaml",
        "numpy>=1.24",
        "scipy>=1.10",
        "scikit-learn>=1.3",
        "pillow>=9.4",
        "matplotlib>=3.7",
        "jinja2>=3.1",
        "tqdm",
    ],
    extras_require={
        "mat73": ["h5py>=3.8"],
        "timm": ["timm>=1.0.13"],
        "tensorboard": ["tensorboard"],
        "test": ["pytest>=7", "hypothesis>=6", "ruff", "h5py>=3.8", "selenium>=4.11", "tensorboard", "timm>=1.0.13"],
    },
)
