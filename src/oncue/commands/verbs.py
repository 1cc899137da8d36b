"""What `oncue` can do: each verb, where it is, and what its help says. It imports none of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verb:
    """A command: the words that name it, where its flags and its `run() -> int` are, and one line
    of help."""

    words: str
    module: str
    class_name: str
    summary: str


VERBS = (
    Verb("watch", "oncue.commands.watch", "Watch", "watch a video and speak on cue"),
    Verb("ask", "oncue.commands.ask", "Ask", "answer a question by looking where it matters"),
    Verb(
        "ask-lines",
        "oncue.commands.ask_lines",
        "AskLines",
        "answer questions that come as JSON lines, for programs",
    ),
    Verb(
        "render", "oncue.commands.render", "Render", "show the exact text and tokens of a dialogue"
    ),
    Verb(
        "eval list",
        "oncue.commands.eval_list",
        "EvalList",
        "say what each benchmark measures, needs and gets wrong",
    ),
    Verb(
        "eval compare",
        "oncue.commands.eval_compare",
        "EvalCompare",
        "compare two scored runs on the same items",
    ),
    Verb(
        "eval world",
        "oncue.commands.eval_world",
        "EvalWorld",
        "score a model on held-out clips with exact gold",
    ),
    Verb(
        "eval mcq",
        "oncue.commands.eval_mcq",
        "EvalMcq",
        "score answers to questions about long videos",
    ),
    Verb(
        "eval clips",
        "oncue.commands.eval_clips",
        "EvalClips",
        "score when a model speaks on clips with hand-made gold",
    ),
    Verb(
        "eval proactivevideoqa",
        "oncue.commands.eval_proactivevideoqa",
        "EvalProactiveVideoQa",
        "score what a model says while a reply is due (ProactiveVideoQA)",
    ),
    Verb(
        "eval omnimmi",
        "oncue.commands.eval_omnimmi",
        "EvalOmniMmi",
        "score when a model signals what it waits for (OmniMMI)",
    ),
    Verb(
        "eval streamingbench-po",
        "oncue.commands.eval_streamingbench_po",
        "EvalStreamingBenchPo",
        "score when a model says what it waits for (StreamingBench)",
    ),
    Verb(
        "eval ovobench",
        "oncue.commands.eval_ovobench",
        "EvalOvoBench",
        "score answers about streams shown up to a moment (OVO-Bench)",
    ),
    Verb(
        "eval ovo-timing",
        "oncue.commands.eval_ovo_timing",
        "EvalOvoTiming",
        "score when a model speaks of events in streams (OVO-Timing)",
    ),
    Verb(
        "eval estp",
        "oncue.commands.eval_estp",
        "EvalEstp",
        "score when a model speaks on first-person videos (ESTP-Bench)",
    ),
    Verb(
        "eval interactionbench",
        "oncue.commands.eval_interactionbench",
        "EvalInteractionBench",
        "score what a model says, and when (InteractionBench)",
    ),
    Verb(
        "eval omnipro",
        "oncue.commands.eval_omnipro",
        "EvalOmniPro",
        "score alerts, counts and narration while watching (OmniPro)",
    ),
    Verb(
        "eval omnipro-probe",
        "oncue.commands.eval_omnipro_probe",
        "EvalOmniProProbe",
        "score answers before and after each trigger (OmniPro)",
    ),
    Verb(
        "eval omniduplex",
        "oncue.commands.eval_omniduplex",
        "EvalOmniDuplex",
        "score reminders and corrections (Omni-DuplexEval)",
    ),
    Verb(
        "eval spot",
        "oncue.commands.eval_spot",
        "EvalSpot",
        "score how timely replies are (SPOT-Bench)",
    ),
    Verb(
        "eval streampro",
        "oncue.commands.eval_streampro",
        "EvalStreamPro",
        "score replies by the paper's text of StreamPro-Bench",
    ),
    Verb(
        "data build",
        "oncue.commands.data_build",
        "DataBuild",
        "turn videos into proactive dialogues with a model that captions and asks",
    ),
    Verb(
        "data check",
        "oncue.commands.data_check",
        "DataCheck",
        "say all that is wrong with rows of proactive dialogues",
    ),
    Verb(
        "data stats",
        "oncue.commands.data_stats",
        "DataStats",
        "count what rows of proactive dialogues hold, as a table and a page",
    ),
    Verb(
        "data filter",
        "oncue.commands.data_filter",
        "DataFilter",
        "keep rows of proactive dialogues that pass filters",
    ),
    Verb(
        "data view",
        "oncue.commands.data_view",
        "DataView",
        "show proactive dialogues on their film strip",
    ),
    Verb(
        "data convert",
        "oncue.commands.data_convert",
        "DataConvert",
        "turn proactive dialogues of one format into another",
    ),
    Verb(
        "data split",
        "oncue.commands.data_split",
        "DataSplit",
        "hold out rows by video",
    ),
    Verb(
        "data frames build",
        "oncue.commands.data_frames",
        "DataFramesBuild",
        "keep the frames of videos in tar shards, for training",
    ),
    Verb(
        "data frames verify",
        "oncue.commands.data_frames",
        "DataFramesVerify",
        "read every frame of a store and name what is wrong",
    ),
    Verb(
        "data frames show",
        "oncue.commands.data_frames",
        "DataFramesShow",
        "list the clips of a frame store",
    ),
    Verb(
        "data curate nextgqa",
        "oncue.commands.data_nextgqa",
        "DataCurateNextgqa",
        "make rows for retrieval from NExT-GQA",
    ),
    Verb(
        "data curate qvhighlights",
        "oncue.commands.data_qvhighlights",
        "DataCurateQvhighlights",
        "make rows for retrieval from QVHighlights and a model that writes questions",
    ),
    Verb(
        "data import",
        "oncue.commands.data_import",
        "DataImport",
        "turn rows of Video-R1 or Video-MTR into rows for retrieval",
    ),
    Verb("world make", "oncue.commands.world", "WorldMake", "make videos with exact gold"),
    Verb(
        "score rewards",
        "oncue.commands.score",
        "ScoreRewards",
        "score stored rollouts with the training reward",
    ),
    Verb("train sft", "oncue.commands.train", "TrainSft", "teach a model from written dialogues"),
    Verb(
        "train grpo",
        "oncue.commands.train_grpo",
        "TrainGrpo",
        "teach a model by reward when to speak",
    ),
    Verb(
        "train ppo",
        "oncue.commands.train_grpo",
        "TrainPpo",
        "teach a model by reward where to look in a video",
    ),
    Verb(
        "train average",
        "oncue.commands.train_average",
        "TrainAverage",
        "average checkpoints into one model",
    ),
    Verb(
        "view",
        "oncue.commands.view",
        "View",
        "show the rollouts of a run of reinforcement learning",
    ),
    Verb(
        "study",
        "oncue.commands.study",
        "Study",
        "compare ways of training over seeds, down to a page",
    ),
    Verb(
        "bench engine",
        "oncue.commands.bench",
        "BenchEngine",
        "measure how fast and how exact the engine is here",
    ),
    Verb(
        "bench grpo",
        "oncue.commands.bench",
        "BenchGrpo",
        "measure what a step of reinforcement learning costs here",
    ),
    Verb(
        "bench retrieval",
        "oncue.commands.bench_retrieval",
        "BenchRetrieval",
        "measure what episodes that look into videos cost here",
    ),
    Verb(
        "bench soak",
        "oncue.commands.bench",
        "BenchSoak",
        "open, feed and kill many sessions at random for a while",
    ),
    Verb(
        "bench pool",
        "oncue.commands.bench_pool",
        "BenchPool",
        "measure how fast the frame pool of a long video is read",
    ),
    Verb(
        "bench scoring",
        "oncue.commands.bench_scoring",
        "BenchScoring",
        "measure how fast predictions are scored here",
    ),
    Verb(
        "bench data",
        "oncue.commands.bench_data",
        "BenchData",
        "measure what making dialogues costs here, beside the model",
    ),
    Verb(
        "doctor",
        "oncue.commands.doctor",
        "Doctor",
        "check that everything works here, and how to fix it",
    ),
)
