"""The pages there are: what axe looks at and what is photographed."""


def places(experiment_id: str, trial: int = 1) -> dict[str, str]:
    """Return the address of each page by name, of an experiment that has three trials and more."""
    return {
        "experiments": "",
        "experiment": f"experiments/{experiment_id}",
        "hyperparameters": f"experiments/{experiment_id}/hyperparameters",
        "rungs": f"experiments/{experiment_id}/rungs",
        "files": f"experiments/{experiment_id}/files",
        "why": f"experiments/{experiment_id}/why",
        "trial": f"trials/{experiment_id}-{trial}",
        "compare": f"compare/trials?ids={experiment_id}-1,{experiment_id}-2,{experiment_id}-3",
        "cluster": "cluster",
        "agent": "agents/local",
        "events": "events",
        "admin": "admin",
    }
