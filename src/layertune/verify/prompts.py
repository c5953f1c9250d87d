"""Prompts of the workload's size from real text: Korean, English and code. No two are alike."""

from collections.abc import Iterator, Sequence

# The two chat requests of the case study's checklist. With more than two models they repeat.
QUESTIONS = ("안녕하세요", "파이썬 함수 작성해줘")

# A prime greater than the text's number of tokens in any model. So its multiples reach every position before one
# repeats.
_STRIDE = 7919


def prompts(tokens: Sequence[int], n_prompt: int) -> Iterator[list[int]]:
    """Yield prompts of `n_prompt` tokens (or characters) of a text without end, each from another position.

    After all positions have been used, the second half of each prompt moves on by one position. So with a text of n
    tokens, no two of the first n² prompts are the same.
    """
    n_tokens, n_head = len(tokens), n_prompt // 2
    number = 0
    while True:
        n_moved, place = divmod(number, n_tokens)
        begin = place * _STRIDE % n_tokens
        head = range(begin, begin + n_head)
        tail = range(begin + n_head + n_moved, begin + n_moved + n_prompt)
        yield [tokens[at % n_tokens] for at in (*head, *tail)]
        number += 1


TEXT = """\
안녕하세요. 내일 오전에 있을 고객 회의 자료를 정리하고 있습니다. 아래 메모를 읽고 세 문장으로 요약해 주세요. 첫째,
이번 분기의 매출은 지난 분기보다 늘었지만 신규 고객의 비율은 줄었습니다. 둘째, 기존 고객이 가장 많이 요청한 기능은
오프라인 저장과 한국어 검색입니다. 셋째, 서버 비용이 예산을 조금 넘었기 때문에 다음 달부터는 작은 모델 두 개를 한
장의 그래픽 카드에서 함께 실행하려고 합니다.
Could you explain, in plain words, why a language model becomes slower when only part of its layers fits on the
graphics card? I understand that the rest runs on the processor, but I do not see why the slow part decides the
speed of the whole. Please use an everyday comparison, and then tell me which number I should change first if the
answers arrive too slowly.
파이썬 함수 하나를 작성해 주세요. 로그 파일의 경로를 받아서 시간별 오류 개수를 세고, 가장 많은 시간 세 개를 돌려주는
함수입니다. 파일이 아주 클 수 있으므로 한 줄씩 읽어야 하고, 날짜 형식이 잘못된 줄은 건너뛰되 몇 줄을 건너뛰었는지도
알려 주세요. 테스트 코드도 함께 부탁드립니다.
def busiest_hours(path, n_hours=3):
    counts, n_skipped = {}, 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            stamp, _, message = line.partition(" ")
            try:
                hour = datetime.fromisoformat(stamp).replace(minute=0, second=0, microsecond=0)
            except ValueError:
                n_skipped += 1
                continue
            if "ERROR" in message:
                counts[hour] = counts.get(hour, 0) + 1
    ranked = sorted(counts, key=counts.get, reverse=True)
    return [(hour, counts[hour]) for hour in ranked[:n_hours]], n_skipped
The function above works, but a reviewer asks for three changes: it should accept an open file as well as a path, it
should treat "CRITICAL" like "ERROR", and ties should come back in the order of time. Rewrite it, keep the names,
and say in one sentence each why the changes are safe.
지난주에 배포한 뒤로 응답이 가끔 십 초 넘게 걸립니다. 모니터링을 보면 그래픽 카드 메모리는 남아 있는데, 두 모델에
요청이 동시에 들어올 때만 느려집니다. 원인이 될 수 있는 것들을 가능성이 높은 순서대로 적고, 각각을 확인하는 방법을
알려 주세요. 그리고 컨텍스트 길이를 줄이는 것과 배치 크기를 줄이는 것 가운데 어느 쪽이 품질에 영향을 덜 주는지도
설명해 주세요.
SELECT customer, COUNT(*) AS n_orders, SUM(amount) AS total
FROM orders
WHERE created_at >= DATE '2026-01-01' AND status <> 'cancelled'
GROUP BY customer HAVING SUM(amount) > 100000
ORDER BY total DESC;
Translate the following paragraph into Korean, keep the technical terms in English, and add a short glossary: "The
scheduler places requests in a queue until a slot becomes free. A slot owns its part of the cache, so a long prompt
in one slot does not shorten the context of another. When all slots are busy, the time to the first token grows with
the length of the queue, while the time between tokens stays the same."
다음 규칙으로 여행 일정을 짜 주세요. 부산에서 이틀, 경주에서 하루를 보내고, 하루에 걷는 거리는 만 보를 넘지 않아야
합니다. 비가 오는 경우의 대안도 적어 주시고, 식당은 예약이 필요한 곳과 그렇지 않은 곳을 나누어 주세요. 마지막으로
예상 비용을 표로 정리해 주세요.
use std::collections::HashMap;

fn word_counts(text: &str) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for word in text.split_whitespace() {
        *counts.entry(word).or_insert(0) += 1;
    }
    counts
}
My cat refuses to drink from her bowl and only wants water from the tap. Is that normal, and should I be worried
about it in summer? Give me two things to try this week, and one sign that means we should see a vet.
"""
