from layertune.engine.library import rebuild

PIP = "pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"


def test_the_command_that_rebuilds_is_for_sh_elsewhere_and_for_powershell_on_windows() -> None:
    assert rebuild("-DGGML_CUDA=ON", windows=False) == f'CMAKE_ARGS="-DGGML_CUDA=ON" {PIP}'
    assert rebuild("-DGGML_CUDA=ON", windows=True) == f'$env:CMAKE_ARGS="-DGGML_CUDA=ON"; {PIP}'
