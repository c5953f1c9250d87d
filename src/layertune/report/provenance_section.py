"""The study, the machine and the models that the values come from."""

from layertune.report.markup import NOT_RECORDED, Html, count, escape, number, pointer, section, size, table
from layertune.results.result import Result
from layertune.settings import model_and_file


def provenance_section(result: Result) -> Html:
    return section("provenance", "Provenance", _study(result), _models(result))


def _study(result: Result) -> Html:
    study, hardware, budget = result.study, result.hardware, result.budget
    device = hardware.device
    rows = [
        [escape("study"), escape(study.name)],
        [escape("created"), escape(study.created)],
        [escape("sampler"), escape(study.sampler)],
        [escape("seed"), count(study.seed, "/study/seed")],
        [escape("layertune"), escape(study.layertune_version)],
        [escape("llama.cpp"), escape(f"{study.llama_cpp.version} ({study.llama_cpp.commit})")],
        [escape("device"), escape(f"{device.name} ({device.kind})")],
        [escape("device memory"), _size(device.vram_bytes, "/hardware/device/vram_bytes")],
        [escape("driver"), NOT_RECORDED if device.driver is None else escape(device.driver)],
        [escape("processor"), escape(hardware.cpu.model)],
        [escape("cores"), count(hardware.cpu.n_cores, "/hardware/cpu/n_cores")],
        [escape("RAM"), size(hardware.ram_bytes, "/hardware/ram_bytes")],
        [escape("hardware fingerprint"), escape(hardware.fingerprint)],
        [escape("budget"), _size(budget.vram_bytes, "/budget/vram_bytes")],
        [escape("margin"), size(budget.margin_bytes, "/budget/margin_bytes")],
        [escape("objectives"), escape(", ".join(f"{each.direction} {each.name}" for each in result.objectives))],
        [escape("floors"), escape(", ".join(result.floors) or "none")],
        *_limits(result),
        *_weights(result),
    ]
    return table("The study and the machine", ["what", "value"], rows)


def _limits(result: Result) -> list[list[Html]]:
    limits = result.host_limits
    if limits is None:
        return [[escape("host limits"), NOT_RECORDED]]
    cpus, ram_bytes = limits.n_cpus, limits.ram_per_model_bytes
    return [
        [escape("cores a model"), escape("all") if cpus is None else count(cpus, "/host_limits/n_cpus")],
        [
            escape("RAM a model"),
            escape("all") if ram_bytes is None else size(ram_bytes, "/host_limits/ram_per_model_bytes"),
        ],
    ]


def _weights(result: Result) -> list[list[Html]]:
    return [
        [escape(f"weight of {name} in the balanced pick"), number(weight, f"{weight:g}", pointer("weights", name))]
        for name, weight in result.weights.items()
    ]


def _models(result: Result) -> Html:
    rows = []
    for key, model in result.variants().items():
        name, file = model_and_file(key)
        at, load = pointer("files", name, file) if file else pointer("models", name), result.workload[name]
        rows.append(
            [
                escape(name),
                escape(model.file),
                size(model.file_bytes, at + "/file_bytes"),
                escape(f"{model.architecture}, {model.quantization or 'quantization not recorded'}"),
                count(model.n_layer, at + "/n_layer"),
                count(load.n_prompt, pointer("workload", name, "n_prompt")),
                count(load.n_generate, pointer("workload", name, "n_generate")),
                Html(f"<code>{escape(model.sha256)}</code>"),
            ]
        )
    headings = ["model", "file", "size", "architecture", "layers", "prompt tokens", "generated tokens", "sha256"]
    return table("The models and their workloads", headings, rows)


def _size(size_bytes: int | None, at: str) -> Html:
    return NOT_RECORDED if size_bytes is None else size(size_bytes, at)
