"""Invented rows in the forms of public benchmarks."""

ABCD = ["A. red", "B. blue", "C. green", "D. grey"]
VIDEOMME = {
    "video_id": "001",
    "videoID": "x-Y_1",
    "duration": "medium",
    "domain": "Sports",
    "sub_category": "Golf",
    "question_id": "001-1",
    "task_type": "Counting Problem",
    "question": "Which one?",
    "options": ABCD,
    "answer": "C",
}
MLVU_DEV = {
    "video": "needle_1.mp4",
    "duration": 467.98,
    "question": "Which one?",
    "candidates": ["red", "blue", "C. Ronaldo", "a"],
    "answer": "C. Ronaldo",
    "question_type": "findNeedle",
}
MLVU_TEST = {
    **MLVU_DEV,
    "question_id": "AR_0",
    "candidates": ["0", "1", "2", "3", "4", "5"],
    "answer": "5",
}
LONG = {
    "id": "v_0",
    "video_path": "v.mp4",
    "question": "Which one?",
    "candidates": ["red", "blue"],
    "correct_choice": 1,
    "duration": 20.5,
    "duration_group": 60,
    "question_category": "S2E",
    "subtitle_path": "v_en.json",
}
LVBENCH = {
    "key": "Cm7",
    "type": "tv",
    "qa": [
        {
            "uid": "7",
            "question": "Which one?\n(A) red\n(B) blue (not navy)\n(C) green\n(D) grey",
            "answer": "B",
            "question_type": ["reasoning", "event understanding"],
            "time_reference": "00:15-00:19",
        },
        {"uid": 8, "question": "Who?", "options": ["(A) Ann", "(B) Bo"], "answer": "A"},
    ],
    "video_info": {"duration_minutes": 60.5},
}
EGO_RAW = {
    "q_uid": "e-1",
    "google_drive_id": "g",
    "question": "Why?",
    **{f"option {i}": f"reason {i}" for i in range(5)},
}
EGO_SUBSET = {
    "question_idx": 0,
    "question": "Why?",
    "video_idx": "e-1",
    "option": [f"{letter}. reason" for letter in "ABCDE"],
    "answer": "4",
}
ROW = {
    "problem_id": 3,
    "problem": "Which one?",
    "data_type": "video",
    "problem_type": "multiple choice",
    "options": ABCD,
    "solution": "<answer>D</answer>",
    "path": "./next/v.mp4",
    "data_source": "NeXT",
    "duration": 44.0,
    "task_type": "CW",
}
