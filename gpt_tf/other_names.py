"""What settings and options are called elsewhere: with these names people come to gpt-tf.

They are answered with ours, on the command line, after `--set` and by `gpt-tf settings`; none of
them is accepted. Those of samplers are in `inference.options`.
"""

# fmt: off
# Our settings by their names in nanoGPT (train.py), in TrainingArguments and the configurations of
# transformers, in Keras and KerasHub, and in short.
SETTINGS = {
    # in short
    "lr": "learning_rate", "wd": "weight_decay", "bs": "batch_size", "steps": "max_steps",
    "epochs": "max_epochs", "keep": "keep_checkpoints", "layers": "num_layers",
    "heads": "num_heads",
    # nanoGPT
    "n_layer": "num_layers", "n_head": "num_heads", "n_embd": "embed_dim",
    "block_size": "context_length", "max_iters": "max_steps", "warmup_iters": "warmup_steps",
    "min_lr": "min_learning_rate", "beta1": "beta_1", "beta2": "beta_2", "grad_clip": "clip_norm",
    "gradient_accumulation_steps": "grad_accum_steps", "eval_iters": "eval_batches",
    "dtype": "precision", "compile": "xla",
    # transformers
    "num_train_epochs": "max_epochs", "per_device_train_batch_size": "batch_size",
    "adam_beta1": "beta_1", "adam_beta2": "beta_2", "adam_epsilon": "epsilon",
    "max_grad_norm": "clip_norm", "optim": "optimizer", "lr_scheduler_type": "schedule",
    "logging_steps": "log_interval", "eval_steps": "eval_interval",
    "save_steps": "checkpoint_interval", "save_total_limit": "keep_checkpoints",
    "n_positions": "context_length", "max_position_embeddings": "context_length",
    "num_hidden_layers": "num_layers", "num_attention_heads": "num_heads",
    "hidden_size": "embed_dim", "intermediate_size": "ffn_dim",
    "rope_theta": "rope_base", "rms_norm_eps": "norm_epsilon", "hidden_act": "activation",
    # KerasHub
    "sequence_length": "context_length", "max_sequence_length": "context_length",
    "hidden_dim": "embed_dim", "intermediate_dim": "ffn_dim", "vocabulary_size": "vocab_size",
}
# Parameters of our commands by the options of other programs, and by those of our other commands;
# the first one that a command has is meant.
OPTIONS = {
    **dict.fromkeys(("to", "out", "out_dir", "output", "output_dir"),
                    ("directory", "output", "name")),
    "step": ("which", "stop_at_step"), "ckpt": ("which",), "checkpoint": ("which",),
    "run": ("run_name", "name", "resume"), "run_name": ("name",), "model": ("run_name",),
    "resume_from": ("resume",), "resume_from_checkpoint": ("resume",), "init_from": ("from_run",),
    "dataset": ("data",), "train_file": ("data",), "validation_file": ("validation_data",),
    "start": ("prompt",), "text": ("prompt",), "force": ("overwrite", "yes"),
    "overwrite_output_dir": ("overwrite",), "except": ("all_but",),
}
# fmt: on
