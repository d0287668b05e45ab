"""Korean pages of the usual kinds of site, written for these tests, each with the text that a reader would call its content.

The markup is that of the sites: tables in tables and font tags on old boards, divisions without meaning on blogs, menus, bylines, related
articles, attachments and company footers around the text. tests and benchmarks/extraction.py read the same pages.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KoreanPage:
    """A page, and the lines of its content from top to bottom."""

    html: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The content, a line each."""
        return "\n".join(self.lines)


NEWS = (
    "가나시가 내년부터 시내버스 노선을 전면 개편한다. 2014년 이후 11년 만이다.",
    "시는 12일 설명회를 열고 간선 18개, 지선 42개로 나뉜 새 노선안을 공개했다. 갈아타는 시간이 14분에서 8분으로 줄 것으로 시는 내다봤다.",
    "교통정책과 관계자는 “출퇴근 시간에 몰리는 승객을 나누는 것이 핵심”이라며 “주민 의견을 들어 3월까지 확정하겠다”고 말했다.",
    "그러나 외곽 지역 주민들은 배차 간격이 길어진다며 반발하고 있다. 윗마을 박모(67)씨는 “병원에 가려면 두 번을 갈아타야 한다”고 했다.",
    "시의회는 다음 달 임시회에서 관련 예산 320억원을 심의한다.",
)
BLOG = (
    "지난 주말에 친구랑 같이 남쪽 섬에 다녀왔어요~ 날씨가 정말 좋았답니다 :)",
    "아침 일찍 배를 타고 들어갔는데 사람이 많지 않아서 한적하게 걸을 수 있었어요.",
    "바닷가를 따라 난 길을 한 시간쯤 걸으면 작은 등대가 나와요. 여기서 보는 풍경이 최고!!",
    "점심은 선착장 앞 식당에서 해물칼국수를 먹었는데 국물이 진짜 시원했어요 ㅎㅎ",
    "다음에는 하룻밤 자면서 해 지는 것도 보고 싶네요. 혹시 가실 분들은 배 시간 꼭 확인하세요!",
)
BOARD = (
    "안녕하세요. 이번에 새로 가입한 회원입니다.",
    "다름이 아니라 오래된 카메라를 하나 얻었는데 필름을 어디서 사야 할지 몰라서 글을 남깁니다.",
    "동네 사진관은 다 문을 닫았고 인터넷에서는 유통기한이 지난 것만 보이네요.",
    "예전에는 시장 골목에 전문점이 많았다고 들었는데 지금도 남아 있는지 궁금합니다. 아시는 분은 꼭 좀 알려 주세요. 미리 감사드립니다.",
)
COMMENTS = ("저도 궁금하네요", "골목 끝 가게가 아직 있습니다", "전화해 보고 가세요~")
NOTICE = (
    "2024년도 마을 도서관 자원봉사자를 다음과 같이 모집하오니 많은 참여 바랍니다.",
    "1. 모집 인원: 총 12명 (평일 8명, 주말 4명)",
    "2. 활동 기간: 2024년 3월 4일부터 12월 20일까지",
    "3. 활동 내용: 자료 정리, 이용 안내, 어린이 책 읽어 주기",
    "4. 신청 방법: 신청서를 작성하여 도서관을 방문하거나 전자우편으로 제출",
    "기타 문의 사항은 도서관 운영팀으로 연락하여 주시기 바랍니다.",
)
WIKI = (
    "물레방아는 흐르는 물의 힘으로 바퀴를 돌려 곡식을 찧거나 가루를 내는 기구이다.",
    "방아채의 길이와 물의 양에 따라 하루에 찧을 수 있는 곡식의 양이 달라진다. 물이 많은 여름에는 하루 두 섬을 찧었다는 기록이 있다.",
    "조선 후기에 널리 보급되었으며, 마을 사람들이 함께 만들고 돌아가며 썼다.",
    "물이 위에서 떨어지는 동채방아와 아래로 흐르는 밀채방아로 나눈다. 동채방아는 낙차가 큰 산골에, 밀채방아는 들이 넓은 곳에 많았다.",
    "전기가 들어온 뒤로 거의 사라졌고 지금은 관광지나 박물관에서 볼 수 있다.",
)
SHOP = (
    "국내산 참나무를 그대로 깎아 만든 도마입니다. 칼자국이 잘 남지 않고 물기가 빨리 마릅니다.",
    "크기는 가로 36cm, 세로 24cm이며 두께는 2.5cm입니다. 무게는 약 1.4kg으로 안정감이 있습니다.",
    "처음 쓰시기 전에 들기름을 얇게 발라 하루 동안 말려 주세요. 식기세척기에는 넣지 마세요.",
    "나무 제품의 특성상 무늬와 색이 화면과 다를 수 있으며 이는 교환 사유가 되지 않습니다.",
)
QUESTION = (
    "전세 계약이 다음 달에 끝나는데 집주인이 연락이 안 됩니다. 이런 경우에 보증금을 돌려받으려면 어떻게 해야 하나요?",
    "먼저 계약 갱신을 원하지 않는다는 뜻을 내용증명 우편으로 보내셔야 합니다. 만기 두 달 전까지 도착해야 효력이 있습니다.",
    "그래도 돌려받지 못하면 법원에 임차권등기명령을 신청한 뒤에 이사하시면 됩니다. 등기가 된 것을 확인하기 전에는 절대 짐을 빼지 마세요.",
)
RECIPE = (
    "밥도둑 감자조림을 간단하게 만들어 볼게요.",
    "감자 3개, 양파 반 개, 간장 4큰술, 물엿 2큰술, 다진 마늘 1작은술",
    "감자는 껍질을 벗겨 한입 크기로 썰고 찬물에 10분 담가 전분을 빼 주세요.",
    "냄비에 기름을 두르고 감자를 볶다가 겉이 투명해지면 간장과 물 한 컵을 붓습니다.",
    "중불에서 15분 졸이다가 양파와 물엿을 넣고 국물이 자작해질 때까지 더 졸이면 끝이에요.",
)
FORUM = (
    "요즘 자전거 타이어 뭐가 좋나요?",
    "28c 쓰다가 32c로 바꿨는데 훨씬 편해요",
    "무게 차이 안 나요?",
    "한 짝에 40g 정도? 체감은 안 됩니다 ㅋㅋ",
    "저는 그냥 25c 씁니다. 평지만 다니니까요",
    "펑크 나면 골치 아프니 예비 튜브는 꼭 챙기세요~",
)
LAW = (
    "제1조(목적) 이 조례는 마을 공동 우물의 보전과 이용에 필요한 사항을 규정함을 목적으로 한다.",
    "제2조(정의) 이 조례에서 사용하는 용어의 뜻은 다음과 같다.",
    "1. “공동 우물”이란 둘 이상의 가구가 함께 이용하는 우물을 말한다.",
    "2. “관리인”이란 제4조에 따라 지정된 사람을 말한다.",
    "제3조(책무) ① 시장은 공동 우물의 수질을 해마다 한 번 이상 검사하여야 한다.",
    "② 시장은 제1항에 따른 검사 결과를 주민에게 알려야 한다.",
    "제4조(관리인) 시장은 주민의 추천을 받아 관리인을 지정할 수 있다.",
)
LETTER = (
    "옛 벗에게",
    "그동안 잘 지냈는가. 지난번 편지를 받고도 답장이 늦어 미안하네.",
    "여기는 벌써 첫눈이 내려 뒷산이 하얗게 덮였네. 아이들은 강아지와 함께 마당을 뛰어다니고",
    "나는 아랫목에 앉아 자네와 함께 읽던 책을 다시 펴 보고 있네.",
    "봄이 오면 한번 내려오게나. 막걸리는 넉넉히 담가 두겠네.",
)
POEM = (
    "빈 마당에 바람이 들어",
    "감나무 그림자를 쓸고 간다",
    "할머니의 대접에는",
    "아직 식지 않은 저녁이 담겨 있고",
    "먼 데서 개 짖는 소리",
    "별이 하나씩 켜진다",
)
NOVEL = (
    "그해 겨울에는 눈이 자주 왔다. 아버지는 새벽마다 마당을 쓸었고 나는 그 소리에 잠을 깼다.",
    "싸리비가 언 땅을 긁는 소리는 이상하게도 따뜻했다. 어머니가 부엌에서 불을 지피면 방바닥이 천천히 데워졌다.",
    "“일어났으면 나와서 거들어라.” 아버지가 문밖에서 말했다. 나는 이불을 뒤집어쓰고 못 들은 척했다.",
    "그 겨울이 우리가 그 집에서 보낸 마지막 겨울이 될 줄은 아무도 몰랐다.",
)

MENU = "".join(f'<li><a href="/m{at}">{name}</a></li>' for at, name in enumerate(("정치", "경제", "사회", "문화", "국제", "스포츠")))
FOOTER = (
    "상호: (주)가나다 | 대표: 홍길동 | 사업자등록번호: 000-00-00000 | 주소: 가나시 다라구 마바로 1<br>"
    "이용약관 | 개인정보처리방침 | 이메일무단수집거부<br>COPYRIGHT (C) GANADA. ALL RIGHTS RESERVED."
)
RELATED = "".join(
    f'<li><a href="/n{at}">{title}</a></li>'
    for at, title in enumerate(("시장, 새 청사 이전 계획 발표", "지하철 3호선 연장 확정", "올겨울 첫 한파주의보", "아파트값 5주째 내려"))
)
SIDE = "".join(f"<li><em>{at}</em><a href='/r{at}'>많이 본 소식 제목 {at}번입니다</a></li>" for at in range(1, 11))


def paragraphs(lines: tuple[str, ...], opening: str = "<p>", closing: str = "</p>") -> str:
    return "\n".join(f"{opening}{line}{closing}" for line in lines)


def old_frame(title: str, inner: str) -> str:
    """A board of about 2002: everything is a table, and nothing has a name."""
    menu = "".join(
        f'<td align=center><a href="list.php?code={at}"><font size=2>{name}</font></a></td>'
        for at, name in enumerate(("회사소개", "제품안내", "공지사항", "자유게시판", "질문답변", "자료실", "오시는길"))
    )
    left = "".join(
        f"<tr><td height=20><img src=/img/dot.gif><a href=m{at}.html><font size=2 color=#666666>{name}</font></a></td></tr>"
        for at, name in enumerate(("인사말", "연혁", "조직도", "찾아오시는 길", "사이트맵", "관련 사이트"))
    )
    return f"""<html><head><meta http-equiv="Content-Type" content="text/html; charset=euc-kr"><title>{title}</title>
<style>td {{font-size:9pt}}</style></head><body bgcolor=#ffffff topmargin=0 leftmargin=0>
<table width=800 border=0 cellspacing=0 cellpadding=0><tr><td><img src=/img/top.gif width=800 height=80></td></tr>
<tr><td><table width=800><tr>{menu}</tr></table></td></tr>
<tr><td><table width=800 border=0><tr><td width=160 valign=top><table width=160>{left}</table></td>
<td width=640 valign=top>{inner}</td></tr></table></td></tr>
<tr><td bgcolor=#eeeeee align=center><font size=1>{FOOTER}</font></td></tr></table></body></html>"""


def old_post(title: str, body: str, after: str = "") -> str:
    """A post in such a board: title, writer, date, hits, body, and the neighbouring posts."""
    return f"""<table width=620 border=0 cellspacing=1 cellpadding=3 bgcolor=#cccccc>
<tr bgcolor=#f0f0f0><td width=80><font size=2>제목</font></td><td colspan=3><font size=2><b>{title}</b></font></td></tr>
<tr bgcolor=#ffffff><td><font size=2>작성자</font></td><td><font size=2>나그네</font></td><td><font size=2>조회수</font></td>
<td>132</td></tr>
<tr bgcolor=#ffffff><td colspan=4><font size=2>{body}</font></td></tr></table>{after}
<table width=620><tr><td><a href=list.php><img src=/img/list.gif alt=목록></a>
<a href=write.php>글쓰기</a> <a href=re.php>답변</a></td></tr>
<tr><td><font size=2>이전글 : <a href=view.php?no=11>등업 신청합니다</a></font></td></tr>
<tr><td><font size=2>다음글 : <a href=view.php?no=13>사진 올립니다</a></font></td></tr></table>"""


def modern(title: str, inner: str, side: str = "") -> str:
    """A page of today: divisions with classes, a menu, a side column, a footer."""
    return f"""<!doctype html><html lang="ko"><head><meta charset="utf-8"><title>{title} | 가나다</title>
<meta property="og:title" content="{title}"></head><body><header><h1 class="logo"><a href="/">가나다</a></h1>
<nav><ul>{MENU}</ul></nav></header>
<div id="wrap"><div id="container">{inner}</div>{side}</div><footer><address>{FOOTER}</address></footer></body></html>"""


PAGES = {
    "news article": KoreanPage(
        modern(
            "시내버스 노선 11년 만에 개편",
            f"""<div class="article_head"><h2 class="title">시내버스 노선 11년 만에 개편</h2><div class="info"><span>홍길동 기자</span>
<span>입력 2024.01.12 10:21</span><span>댓글 12</span></div><button>공유하기</button><button>글자 크기</button></div>
<div class="article_body" itemprop="articleBody">{paragraphs(NEWS)}<p class="byline">홍길동 기자 gildong@example.kr</p>
<p class="copyright">&lt;저작권자 ⓒ 가나다, 무단 전재 및 재배포 금지&gt;</p></div>
<div class="related"><h3>관련기사</h3><ul>{RELATED}</ul></div>""",
            f'<aside class="aside"><h3>많이 본 뉴스</h3><ol>{SIDE}</ol></aside>',
        ),
        NEWS,
    ),
    "news, lines by br": KoreanPage(
        old_frame(
            "가나신문",
            f"""<table width=620><tr><td><font size=4><b>시내버스 노선 11년 만에 개편</b></font></td></tr>
<tr><td align=right><font size=2 color=gray>입력 : 2004-01-12 10:21</font></td></tr>
<tr><td><div id=newsbody style="line-height:160%">{"<br><br>".join(NEWS)}</div></td></tr>
<tr><td><b>관련기사</b><ul>{RELATED}</ul></td></tr></table>""",
        ),
        NEWS,
    ),
    "blog": KoreanPage(
        modern(
            "섬 여행 다녀왔어요",
            f"""<div class="se-viewer"><div class="se-title-text"><span>섬 여행 다녀왔어요</span></div><div class="blog2_container">
<span class="nick">바닷가소녀</span> <span class="se_publishDate">2023. 5. 7. 21:14</span> <a>URL 복사</a> <a>이웃추가</a></div>
<div class="se-main-container">{
                "".join(
                    f'<div class="se-component se-image"><img src="p{at}.jpg"></div><div class="se-text"><div>'
                    f'<p class="se-text-paragraph"><span class="se-fs-">{line}</span></p></div></div>'
                    for at, line in enumerate(BLOG)
                )
            }</div></div>
<div class="post_footer"><a>#섬여행</a> <a>#등대</a> <a>#칼국수</a> 공감 15 댓글 3 <a>인쇄</a></div>""",
            "<div class='side'><h4>카테고리</h4><ul><li>전체보기 (120)</li><li>여행 (33)</li><li>맛집 (41)</li></ul></div>",
        ),
        BLOG,
    ),
    "news around a picture": KoreanPage(
        old_frame(
            "가나신문",
            f"""<table width=620><tr><td><b>시내버스 노선 11년 만에 개편</b></td></tr><tr><td>{NEWS[0]}<br><br>{NEWS[1]}<br><br>
<table align=right width=200><tr><td><img src=bus.jpg></td></tr><tr><td><font size=1>▲ 시청 앞 정류장</font></td></tr></table>
{"<br><br>".join(NEWS[2:])}</td></tr></table>""",
        ),
        NEWS,
    ),
    "old board post": KoreanPage(
        old_frame(
            "자유게시판",
            old_post(
                "필름은 어디서 사나요",
                "<br>".join(BOARD),
                "<table width=620>"
                + "".join(
                    f"<tr><td width=80><font size=2>손님{at}</font></td><td><font size=2>{line}</font></td><td>05/12</td></tr>"
                    for at, line in enumerate(COMMENTS)
                )
                + "</table>",
            ),
        ),
        BOARD,
    ),
    "old novel in cells": KoreanPage(
        old_frame("소설 연재", "<table width=600><tr><td>" + "</td></tr><tr><td>".join(NOVEL) + "</td></tr></table>"), NOVEL
    ),
    "government notice": KoreanPage(
        modern(
            "자원봉사자 모집 공고",
            f"""<div class="location">홈 &gt; 알림마당 &gt; 공지사항</div><h3>공지사항</h3>
<table class="view"><caption>공지사항 상세</caption>
<tr><th>제목</th><td colspan="3">자원봉사자 모집 공고</td></tr><tr><th>담당부서</th><td>운영팀</td><th>등록일</th><td>2024-02-01</td></tr>
<tr><th>첨부파일</th><td colspan="3"><a href="f1">신청서.hwp</a> (32KB) <a>바로보기</a><br>
<a href="f2">공고문.pdf</a> (120KB) <a>바로보기</a></td></tr>
<tr><td colspan="4" class="content">{paragraphs(NOTICE)}</td></tr></table>
<div class="kogl"><img src="img_opentype01.png" alt="공공누리 제1유형"> 본 저작물은 공공누리 제1유형에 따라 이용할 수 있습니다.</div>
<ul class="prevnext"><li>이전글 <a>청사 휴관 안내</a></li><li>다음글 <a>강좌 접수 안내</a></li></ul>""",
            "<div class='satisfaction'>이 페이지에서 만족하십니까? <label>매우만족</label> <label>만족</label></div>",
        ),
        NOTICE,
    ),
    "encyclopedia": KoreanPage(
        modern(
            "물레방아",
            f"""<h1 id="firstHeading">물레방아</h1><div id="toc"><h2>목차</h2><ul><li>1 구조</li><li>2 역사</li><li>3 종류</li></ul></div>
<div class="mw-parser-output"><p>{WIKI[0]}</p><h2>구조<span class="mw-editsection">[편집]</span></h2><p>{WIKI[1]}</p>
<h2>역사<span>[편집]</span></h2><p>{WIKI[2]}<sup>[1]</sup></p><h2>종류<span>[편집]</span></h2><p>{WIKI[3]}</p><p>{WIKI[4]}</p></div>
<div id="catlinks">분류: <a>농기구</a> <a>물</a></div>""",
        ),
        WIKI,
    ),
    "shop page": KoreanPage(
        modern(
            "참나무 도마",
            f"""<div class="prd"><h2>참나무 도마</h2><span class="price">39,000원</span><select><option>옵션 선택</option></select>
<button>장바구니</button><button>바로구매</button><ul><li>배송비 3,000원</li><li>무이자 할부 안내</li></ul></div>
<ul class="tab"><li>상품설명</li><li>상품평 (21)</li><li>문의 (4)</li></ul><div id="prdDetail">{paragraphs(SHOP)}</div>
<div class="review"><h4>상품평</h4><ul><li>★★★★★ 좋아요</li><li>★★★★☆ 배송이 빨라요</li></ul></div>""",
        ),
        SHOP,
    ),
    "question and answers": KoreanPage(
        modern(
            "보증금 돌려받는 방법",
            f"""<div class="question"><h2>보증금 돌려받는 방법</h2><div class="c-heading__content">{QUESTION[0]}</div><span>비공개</span>
<span>조회수 1,204</span></div><div class="answer"><h3>답변 1개</h3><div class="profile">길잡이님 <em>고수</em></div>
<div class="se-main-container"><p>{QUESTION[1]}</p><p>{QUESTION[2]}</p></div><button>도움이 됐어요</button></div>""",
        ),
        QUESTION,
    ),
    "recipe": KoreanPage(
        modern(
            "감자조림",
            f"""<div class="view2_summary"><h3>감자조림</h3><div class="intro">{
                RECIPE[0]
            }</div><span>4인분</span><span>30분 이내</span></div>
<div class="ready"><b>재료</b> <span>{RECIPE[1]}</span></div><div class="steps">{
                "".join(
                    f'<div class="view_step_cont"><div class="media-body">{line}</div><img src="s{at}.jpg"></div>'
                    for at, line in enumerate(RECIPE[2:])
                )
            }</div>
<div class="btn">스크랩 공유 인쇄</div>""",
        ),
        RECIPE,
    ),
    "forum of short posts": KoreanPage(
        modern(
            "자전거 타이어 추천",
            '<h2>자전거 타이어 추천</h2><div class="list">'
            + "".join(
                f'<div class="post"><div class="user"><b>회원{at}</b> 2022-07-0{at + 1}</div>'
                f'<div class="memo">{line}</div><a>신고</a></div>'
                for at, line in enumerate(FORUM)
            )
            + "</div>",
        ),
        FORUM,
    ),
    "law": KoreanPage(
        old_frame(
            "자치법규",
            "<table width=620><tr><td><b>가나시 공동 우물 조례</b></td></tr><tr><td>"
            + "<br>\n".join(f"&nbsp;{line}" for line in LAW)
            + "</td></tr></table>",
        ),
        LAW,
    ),
    "preformatted": KoreanPage(
        "<html><head><title>편지</title></head><body><a href=index.html>처음</a> | <a href=list.html>목록</a><hr><pre>\n"
        + "\n\n".join(LETTER)
        + f"\n</pre><hr><font size=1>{FOOTER}</font></body></html>",
        LETTER,
    ),
    "poem": KoreanPage(old_frame("시 마당", old_post("저녁", "<br>\n".join(POEM[:4]) + "<br><br>\n" + "<br>\n".join(POEM[4:]))), POEM),
}
